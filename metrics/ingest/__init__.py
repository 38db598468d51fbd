"""The door: what comes in is validated once, here, and refused with a reason."""
