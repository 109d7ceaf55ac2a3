"""FSDP2 over all processes."""

from lightning.pytorch.strategies import ModelParallelStrategy


class FullySharded(ModelParallelStrategy):
    """Lightning's ModelParallelStrategy, every process in the data-parallel group; runs on CPU (gloo) too.

    Lightning's `data_parallel_size=auto` means the number of nodes and leaves the rest to tensor parallelism.
    Checkpoints are single files, as everywhere else.
    """

    def __init__(self) -> None:
        super().__init__(data_parallel_size=1, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Called by Lightning once the number of processes is known."""
        self._data_parallel_size = self.num_processes * self.num_nodes
        super().setup_environment()
