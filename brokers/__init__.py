"""The brokers: adapters that carry messages, chosen by URL."""
