"""Results that travel: exported in published forms, packed with their evidence, sent to a hub, compared across runs."""
