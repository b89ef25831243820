"""The broker that runs elsewhere: RabbitMQ, 3.10 or later."""

from brokers.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
