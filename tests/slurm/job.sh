#!/bin/bash
# The job of docs/scaling.md on two nodes: ranks.py WORKSPACE. If a rank dies, the job is requeued once.
#SBATCH --nodes=2 --ntasks-per-node=1 --requeue --open-mode=append
export OMP_NUM_THREADS=1 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 ILDFV_TIMEOUT_MINUTES=0.5
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun "$PYTHON" -m torch.distributed.run --nnodes "$SLURM_NNODES" --nproc-per-node 1 \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:$PORT" "$@" && exit
[ "${SLURM_RESTART_COUNT:-0}" -eq 0 ] && scontrol requeue "$SLURM_JOB_ID" && sleep 60
exit 1
