"""Programs: what drives a tree. Given a tree and what just changed, they move it on. Pure."""
