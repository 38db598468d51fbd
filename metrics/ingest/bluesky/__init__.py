"""What Bluesky says, in our words; the connector `connectors.jetstream` puts it together.

`messages`: Jetstream's messages sifted. `memory`: which record engaged which post. `accounts`: who a handle is.
"""
