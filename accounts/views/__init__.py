"""The settings pages, one module a subject; `entrance` holds those for people who have no account yet."""
