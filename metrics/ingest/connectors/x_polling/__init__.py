"""The parts of `connectors.x_api`: X's answers, their limits, who is due when, and what has been asked already."""
