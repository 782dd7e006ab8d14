#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs Documentation/Clusters.md's kind of batch file on a Slurm of one node: Debian's slurmctld, slurmd and
# munge, installed if need be (as root), configured in a folder of their own and stopped at the end.
#
#   sudo Scripts/slurm/single-node.sh        after make build MPI=1; takes a minute
set -euo pipefail
cd "$(dirname "$0")/../.."
attune=$PWD/.build/release/attune
[ -x "$attune" ] || { echo "$attune is not there: make build MPI=1" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "Slurm's daemons want root: sudo $0" >&2; exit 1; }
for package in slurmctld slurmd slurm-client munge; do
  dpkg-query -W -f='${Status}' $package 2>/dev/null | grep -q 'ok installed' || missing="${missing:-} $package"
done
if [ -n "${missing:-}" ]; then
  echo "Installing$missing"
  apt-get update -qq
  # Their services are not started: this script does, with its own configuration.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  rm /usr/sbin/policy-rc.d
fi

work=$(mktemp -d)
chmod 755 "$work"
stop() {
  for daemon in slurmd slurmctld munged; do
    [ -f "$work/$daemon.pid" ] && kill "$(cat "$work/$daemon.pid")" 2>/dev/null || true
  done
  sleep 1
  rm -rf "$work"
}
trap stop EXIT

mkdir -p "$work"/{spool,state,munge} /run/munge
chown munge: "$work/munge" /run/munge
chmod 755 /run/munge
[ -f /etc/munge/munge.key ] || /usr/sbin/mungekey --create
chown munge: /etc/munge/munge.key
su -s /bin/sh munge -c "/usr/sbin/munged --pid-file $work/munge/munged.pid --log-file $work/munge/munged.log"
ln -s "$work/munge/munged.pid" "$work/munged.pid"

cpus=$(nproc)
cat >"$work/slurm.conf" <<CONF
ClusterName=attune
SlurmctldHost=$(hostname)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
ReturnToService=2
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmdSpoolDir=$work/spool
StateSaveLocation=$work/state
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
NodeName=$(hostname) CPUs=$cpus State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf
/usr/sbin/slurmctld
/usr/sbin/slurmd
for _ in $(seq 30); do sinfo -h -o %t 2>/dev/null | grep -q idle && break; sleep 1; done
sinfo

# A tiny model and a few pairs.
cat >"$work/config.json" <<JSON
{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":32,"intermediate_size":64,
 "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":320,
 "max_position_embeddings":2048,"rms_norm_eps":1e-5,"rope_theta":10000,"hidden_act":"silu",
 "tie_word_embeddings":true}
JSON
for word in cat dog sun tea sea hat; do
  echo "{\"prompt\":\"a $word\",\"chosen\":\"$word is good\",\"rejected\":\"no $word\"}"
done >"$work/pairs.jsonl"
echo '{"text":"the cat sat on the mat"}' >"$work/texts.jsonl"
cd "$work"
"$attune" sft --init config.json --data texts.jsonl --output model --set max_steps=1 --set warmup_steps=0 \
  --threads 1 >/dev/null 2>&1

# Where Slurm has PMIx its srun starts the ranks, else mpirun does, which asks Slurm where.
start="mpirun --allow-run-as-root"
srun --mpi=list 2>&1 | grep -qw pmix && start="srun --mpi=pmix"
cat >job.sh <<JOB
#!/bin/bash
#SBATCH --nodes=1 --ntasks-per-node=2 --cpus-per-task=1 --output=$work/job.txt
$start $attune dpo --model $work/model --data $work/pairs.jsonl --output $work/many --threads 1 \
  --set rank=4 --set piece_tokens=24 --seed 1
JOB
echo "The job starts its ranks by: $start"
sbatch --wait job.sh
cat job.txt
"$attune" dpo --model "$work/model" --data "$work/pairs.jsonl" --output "$work/one" --threads 1 \
  --set rank=4 --set piece_tokens=24 --seed 1 >/dev/null 2>&1
cmp many/adapter_model.safetensors one/adapter_model.safetensors
echo "The weights of two ranks are those of one process, to the last bit."
