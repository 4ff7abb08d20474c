"""HTTP, and only HTTP: one module per topic, one class per URL."""
