"""Trajectory priors: splines, local context, demonstrations, training and sampling."""
