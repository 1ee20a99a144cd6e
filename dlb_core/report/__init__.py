"""From measured lesions to what people and machines read."""
