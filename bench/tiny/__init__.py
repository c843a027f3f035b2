"""Training recipes of the small models that ship in diffusers' and open-clip's formats."""
