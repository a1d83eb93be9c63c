"""Jobs and holds at work: what follows the topic `jobs`, and the group members that read a job's range beside live traffic."""
