"""What of a model learns, one way a file; conf/finetune/ names them."""
