"""The stores: adapters that keep the truth, chosen by URL."""
