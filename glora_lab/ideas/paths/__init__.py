"""GLoRA's five paths: what each makes of a layer, and what it does while it trains."""
