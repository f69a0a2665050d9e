"""From a configuration to a run folder: config, runner, metrics, store, summary."""
