"""What a process forks from that has searched already: everything is imported, in memory and over a database."""

from tests.search.fake_search import counted

list(counted(trials=3))
list(counted("sqlite://", trials=3))
