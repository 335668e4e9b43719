"""needleplan: plan, prove and rehearse needle-based tumour ablation. Research software, not a medical device."""

__version__ = "0.1.0"
