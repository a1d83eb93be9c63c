"""Adapters of the broker port: Apache Kafka through aiokafka, and one in memory under the same contract suite."""
