"""Where agents live: blocks in this process, or in Ray actors; the results are the same."""
