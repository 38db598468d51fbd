"""The words of the field in pure Python: engagement types, events, periods. Imports no framework."""
