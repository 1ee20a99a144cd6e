"""The paper's ablation on simulated domains: which ingredient helps where it was not trained."""
