"""Score bundles on labelled cases: run them, measure, compare, and lay it out on one page."""
