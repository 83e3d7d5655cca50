"""How the voices in voices/ were made; nothing here is needed to speak with them."""
