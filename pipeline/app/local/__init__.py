"""The real parts that a local run needs and a laptop does not have: Apache Kafka without Docker, Java or root.

What comes in: a home folder and ports. What goes out: running servers on 127.0.0.1, which end with whoever started them.
"""
