"""Commands for version 1 of the API; one module for each thing they are about."""
