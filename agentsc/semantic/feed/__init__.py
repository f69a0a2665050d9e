"""The operator's feed: a film of a fleet at work as it arrives over radio, a key frame and tokens for what moves."""
