"""FSDP2 over all processes."""

from lightning.pytorch.strategies import ModelParallelStrategy


class FullySharded(ModelParallelStrategy):
    """Lightning's ModelParallelStrategy, every process in the data-parallel group; runs on CPU (gloo) too.

    Lightning's `data_parallel_size=auto` means the number of nodes and leaves the rest to tensor parallelism.

    Args:
        save_distributed_checkpoint: checkpoints are folders, into which each process writes its own shards,
            instead of single files. Evaluate, predict, export and `pretrained=` take either.
    """

    def __init__(self, save_distributed_checkpoint: bool = False) -> None:
        super().__init__(
            data_parallel_size=1,
            tensor_parallel_size=1,
            save_distributed_checkpoint=save_distributed_checkpoint,
        )

    def setup_environment(self) -> None:
        """Called by Lightning once the number of processes is known."""
        self._data_parallel_size = self.num_processes * self.num_nodes
        super().setup_environment()
