"""Tying relative depth to metres."""
