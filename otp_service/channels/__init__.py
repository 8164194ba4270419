"""Delivery channels and other outgoing calls."""
