"""word2vec at any width: its path through a corpus, its training, its infinite-width limits, and what is measured."""
