"""Speed and memory against other tools: ratios in one run on one machine."""
