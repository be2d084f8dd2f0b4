"""What `tpbench word2vec` computes, keeps, shows and writes."""
