"""From overrides to a plan: which stages run, in which order, with which config, and whether they may."""
