"""Pure mathematics on tensors: no Lightning, no configuration, no state."""
