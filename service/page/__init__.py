"""The page at `/`: try models, teach one, look after those that are served. It asks nothing but the public routes."""
