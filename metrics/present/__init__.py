"""What people and programs see: pages, charts, live frames, exports, the JSON API."""
