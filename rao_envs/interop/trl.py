"""RAO in TRL: a `GRPOTrainer` whose rows are the agents of execution trees, with their own credit.

TRL generates completions for each prompt and compares the completions of one prompt. `RAOGRPOTrainer` replaces that
half: it collects rollouts with the model being trained, assigns credit to every node, and gives TRL one row for each
training sequence. The other half is TRL's: loss, optimiser, logging, checkpoints, adapters.

| TRL option | meaning here |
|---|---|
| `num_generations` | rollouts of each task: the group |
| `generation_batch_size` | rollouts collected at a time (tasks times `num_generations`) |
| `steps_per_generation`, `num_iterations` | unchanged: updates made from one collection |
| `per_device_train_batch_size` | rows that are differentiated at a time |
| `max_completion_length` | maximum tokens of one message |
| `temperature` | of the policy |
| `loss_type` | "dapo" (the default), "cispo" or "dr_grpo": the others divide a sequence by its own length |
| `beta`, `epsilon`, `delta`, `importance_sampling_level`, ... | unchanged |
| `scale_rewards`, reward functions | unused: the advantages are those of `rao_envs.credit` |

Written for TRL 1.16; needs the extra ``trl``. With several processes, each holds the whole model (no sharding), and
credit is assigned over the rollouts of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from rao_envs.extras import extra

with extra("trl", __name__):
    import torch
    from accelerate.utils import gather_object
    from datasets import Dataset
    from torch import Tensor
    from torch.utils.checkpoint import checkpoint
    from trl import GRPOConfig, GRPOTrainer
    from trl.trainer.utils import use_adapter

from rao_envs import credit, metrics
from rao_envs.credit import NodeTable
from rao_envs.errors import OptionError
from rao_envs.policies.hf import HFPolicy
from rao_envs.rollout import collect
from rao_envs.rollout.collect import EnvFactory
from rao_envs.seeding import derive
from rao_envs.training import Batch, batch_from_records, records
from rao_envs.tree import ExecutionTree
from rao_envs.world import Task

__all__ = ["RAOGRPOTrainer"]

_LOSSES = ("dapo", "cispo", "dr_grpo")
_NEUTRAL: Mapping[str, Any] = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
    "use_vllm": False,
    "use_transformers_continuous_batching": False,
    "mask_truncated_completions": False,
}
"""Required values of options that would otherwise change what is sampled, or which samples are trained on."""

_OURS = ("reward_funcs", "train_dataset", "eval_dataset", "tools", "rollout_func", "environment_factory")


class RAOGRPOTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL's types are not checked
    """TRL's GRPO trainer, on rollouts that are trees.

    Attributes:
        policy: the model being trained, as the policy that collects the rollouts.
        trees: the latest rollouts of this process.
    """

    def __init__(
        self,
        model: Any,
        env: str | EnvFactory,
        *,
        tasks: int | Iterable[int | Task],
        eval_tasks: int | Iterable[int | Task] | None = None,
        args: GRPOConfig | None = None,
        processing_class: Any = None,
        env_options: Mapping[str, Any] | None = None,
        credit_options: Mapping[str, Any] | None = None,
        policy_options: Mapping[str, Any] | None = None,
        concurrency: int = 64,
        **options: Any,
    ) -> None:
        """Make a trainer; call `train` to run it.

        Args:
            model: a causal language model, or its name, as TRL takes it.
            env: an id for `gymnasium.make`, or a function that makes an environment.
            tasks: how many tasks (numbers 0, 1, ...), or the task numbers or `Task`s themselves.
            eval_tasks: the same, for evaluation.
            args: TRL's options; see the table above.
            processing_class: the tokenizer, with a chat template; None loads the model's.
            env_options: keyword arguments for `gymnasium.make`. The policy's token counter is added if there is
                none, and its window as the limit `context_tokens` if there are no limits.
            credit_options: options of `credit.assign`, including rules of your own.
            policy_options: options of `HFPolicy`, except those that `args` determines.
            concurrency: environments at once.
            options: options of `GRPOTrainer`, such as `peft_config`, `callbacks` or `optimizers`.

        Raises:
            OptionError: an option has no meaning here or would change the objective; too few tasks for one
                batch; or what `HFPolicy` refuses.
        """
        args = args or GRPOConfig()
        _check(args, options)
        self._tasks = {"train": _listed("tasks", tasks), "eval": _listed("eval_tasks", eval_tasks)}
        _check_enough(args, self._tasks["train"])
        super().__init__(
            model=model,
            reward_funcs=_node_credit,
            args=args,
            processing_class=processing_class,
            train_dataset=_dataset(self._tasks["train"]),
            eval_dataset=_dataset(self._tasks["eval"]) if self._tasks["eval"] else None,
            **options,
        )
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            raise OptionError(
                "args", "DeepSpeed or FSDP", "a sharded model cannot be sampled from here; use DDP or LoRA"
            )
        self.policy = HFPolicy(
            self.accelerator.unwrap_model(self.model),
            self._tokenizer,
            temperature=args.temperature,
            max_new_tokens=self.max_completion_length,
            template_options=self.chat_template_kwargs,
            **(policy_options or {}),
        )
        self.trees: list[ExecutionTree] = []
        self._env = env
        self._env_options = self._completed(env, env_options)
        self._credit_options = dict(credit_options or {})
        self._concurrency = concurrency

    def _completed(self, env: str | EnvFactory, options: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Add the model's token counter and window to the environment's options, unless the caller gave them."""
        if not isinstance(env, str):
            return options
        ours: dict[str, Any] = {"token_counter": self.policy.token_counter}
        if self.policy.context_tokens is not None:
            ours["limits"] = {"context_tokens": self.policy.context_tokens}
        return {**ours, **(options or {})}

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if "task" not in self._signature_columns:
            self._signature_columns.append("task")

    # In place of TRL's generation and scoring --------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Collect the rollouts of these tasks and return them as TRL's rows, R of them.

        Returns:
            "prompt_ids" and "prompt_mask", Long [R, P], padded at the left: what comes before the first sampled
            token. "completion_ids", "completion_mask" and "tool_mask", Long [R, C], padded at the right: everything
            after it; the tool mask is 1 on sampled tokens. "advantages", Float [R]: advantage times weight.
            "old_per_token_logps", Float [R, C], as sampled. "num_items_in_batch": sampled tokens of all processes.
            "ref_per_token_logps", Float [R, C], if there is a KL term.
        """
        mode = "train" if self.model.training else "eval"
        self.trees = self._roll_out(inputs, mode)
        trees, owners = self._gathered(self.trees)
        table = credit.assign(trees, **self._credit_options)
        self._note(trees, table, mode)
        nodes = records(trees, table) if any(tree.invalid is None for tree in trees) else []
        if not any(node.weight > 0 and any(turn.output_ids for turn in node.turns) for node in nodes):
            return self._tensors(None, self._padded_rows([0], mode))
        batch = batch_from_records(nodes, pad_id=self.policy.pad_id)
        owner = torch.tensor(owners)[torch.tensor(table.tree)][batch.row]
        rows = self._padded_rows(owner.bincount(minlength=self.accelerator.num_processes).tolist(), mode)
        mine = batch.select((owner == self.accelerator.process_index).nonzero()[:, 0])
        self._log_rows(mine)
        output = self._tensors(mine, rows)
        output["num_items_in_batch"] = batch.loss_mask.sum().to(self.accelerator.device)
        return output

    def _roll_out(self, inputs: list[dict[str, Any]], mode: str) -> list[ExecutionTree]:
        size = self.num_generations if mode == "train" else self.num_generations_eval
        indices = list(dict.fromkeys(row["task"] for row in inputs))
        if len(inputs) != size * len(indices):
            fix = f"must be a multiple of num_generations={size}, so that no group is split between processes"
            raise OptionError("rollouts of one process", len(inputs), fix)
        # `_step` restarts at 0 when a run is resumed, and `global_step` does not change within one collection: both are
        # needed. Evaluations use the same seeds each time, so that they can be compared.
        when = (int(self.state.global_step), self._step) if mode == "train" else ()
        seed = derive(self.args.seed, mode, *when)
        # In the precision of the loss, so that what is optimised is what was sampled from.
        with self.accelerator.autocast():
            return collect(
                self._env,
                self.policy,
                tasks=[self._tasks[mode][index] for index in indices],
                group_size=size,
                seed=seed,
                env_options=self._env_options,
                concurrency=self._concurrency,
                progress=False,
            )

    def _gathered(self, trees: list[ExecutionTree]) -> tuple[list[ExecutionTree], list[int]]:
        """Return the rollouts of all processes, and the process that each came from."""
        if self.accelerator.num_processes == 1:
            return trees, [0] * len(trees)
        both = gather_object([(self.accelerator.process_index, tree) for tree in trees])
        return [tree for _, tree in both], [owner for owner, _ in both]

    def _padded_rows(self, counts: list[int], mode: str) -> int:
        """Return how many rows every process returns: the maximum, rounded up to equal parts in train mode.

        TRL drops the remainder when it divides rows into `steps_per_generation` parts, and gathers figures of equal
        shape from all processes.
        """
        part = self.args.steps_per_generation if mode == "train" else 1
        return part * -(-max(1, *counts) // part)

    def _tensors(self, batch: Batch | None, rows: int) -> dict[str, Tensor]:
        """Split each sequence before its first sampled token, and add empty rows that teach nothing."""
        device, pad = self.accelerator.device, self.policy.pad_id
        filler = torch.full((1,), pad)
        prompts, completions, sampled, logprobs, advantages = [], [], [], [], []
        for row in range(0 if batch is None else len(batch)):
            assert batch is not None
            length, mask = int(batch.lengths[row]), batch.loss_mask[row]
            first = int(mask.long().argmax())
            prompts.append(batch.input_ids[row, :first])
            completions.append(batch.input_ids[row, first:length])
            sampled.append(mask[first:length].long())
            logprobs.append(batch.old_logprobs[row, first:length])
            advantages.append(float(batch.advantage[row] * batch.weight[row]))
        real = len(prompts)
        for _ in range(rows - real):
            prompts.append(filler)
            completions.append(filler)
            sampled.append(torch.zeros(1, dtype=torch.long))
            logprobs.append(torch.zeros(1))
            advantages.append(0.0)
        output = {
            "prompt_ids": _stacked(prompts, pad, left=True),
            "prompt_mask": _stacked([torch.ones_like(ids) for ids in prompts], 0, left=True),
            "completion_ids": _stacked(completions, pad),
            "completion_mask": _stacked([torch.full_like(c, r < real) for r, c in enumerate(completions)], 0),
            "tool_mask": _stacked(sampled, 0),
            "advantages": torch.tensor(advantages),
            "old_per_token_logps": _stacked(logprobs, 0.0),
            "num_items_in_batch": torch.tensor(0),
        }
        output = {name: value.to(device) for name, value in output.items()}
        if self.beta != 0.0:
            output["ref_per_token_logps"] = self._reference(output)
        return output

    # The model --------------------------------------------------------------------------------------------

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **options: Any
    ) -> Any:
        """Process the rows a few at a time, with gradients too.

        A tree has more rows than a batch of TRL has completions, and their number is not known in advance. Each part
        is recomputed for its gradient, so that only one part's activations are held at a time.
        """
        step = self.args.per_device_train_batch_size
        score = super()._get_per_token_logps_and_entropies
        if not torch.is_grad_enabled() or len(input_ids) <= step:
            return score(model, input_ids, attention_mask, logits_to_keep, *args, **{"batch_size": step, **options})

        def part(ids: Tensor, mask: Tensor) -> Any:
            return score(model, ids, mask, logits_to_keep, *args, **options)

        parts = [
            checkpoint(part, ids, mask, use_reentrant=False)
            for ids, mask in zip(torch.split(input_ids, step), torch.split(attention_mask, step), strict=True)
        ]
        logps, entropies, aux = zip(*parts, strict=True)
        return (
            torch.cat(logps),
            None if entropies[0] is None else torch.cat(entropies),
            None if aux[0] is None else torch.stack(aux).mean(),
        )

    def _reference(self, output: Mapping[str, Tensor]) -> Tensor:
        """Return the reference model's log-probabilities, Float [R, C]."""
        ids = torch.cat((output["prompt_ids"], output["completion_ids"]), dim=1)
        mask = torch.cat((output["prompt_mask"], output["completion_mask"]), dim=1)
        keep = output["completion_ids"].shape[1]
        model, inner = self.ref_model, self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), ExitStack() as stack:
            if model is None:  # an adapter: its frozen copy, or the model without it
                name = "ref" if "ref" in inner.peft_config else None
                stack.enter_context(use_adapter(inner, adapter_name=name))
                model = self.model
            logps: Tensor = self._get_per_token_logps_and_entropies(model, ids, mask, keep)[0]
        return logps

    # What is logged -----------------------------------------------------------------------------------------

    def _note(self, trees: list[ExecutionTree], table: NodeTable, mode: str) -> None:
        summary = metrics.summary(trees)
        logged = self._metrics[mode]
        for name, value in summary.items():
            if isinstance(value, int | float):
                logged[f"rao/{name}"].append(float(value))
        judged = table.reward[(table.parent < 0) & (table.reward == table.reward)]
        if len(judged):
            logged["reward"].append(float(judged.mean()))
        if mode == "train":
            valid = [turn for tree in trees if tree.invalid is None for node in tree.nodes for turn in node.turns]
            self.state.num_input_tokens_seen += sum(turn.prompt_tokens + turn.output_tokens for turn in valid)
        logged["num_tokens"] = [float(self.state.num_input_tokens_seen)]

    def _log_rows(self, batch: Batch) -> None:
        """Keep prompts and completions for TRL's table, if `log_completions` is set."""
        if not self.log_completions:
            return
        for row in range(len(batch)):
            first, length = int(batch.loss_mask[row].long().argmax()), int(batch.lengths[row])
            self._logs["prompt"].append(self._tokenizer.decode(batch.input_ids[row, :first].tolist()))
            self._logs["completion"].append(self._tokenizer.decode(batch.input_ids[row, first:length].tolist()))
            self._logs["advantages"].append(float(batch.advantage[row] * batch.weight[row]))


def _node_credit(**_: Any) -> list[float]:
    """Placeholder for the reward function that TRL requires."""
    raise AssertionError("rewards come from rao_envs.credit")


def _check(args: GRPOConfig, options: Mapping[str, Any]) -> None:
    for name in _OURS:
        if options.get(name) is not None:
            raise OptionError(
                name,
                options[name],
                "has no meaning here: env and tasks determine what is played and judged; leave it out",
            )
    for name, neutral in _NEUTRAL.items():
        if getattr(args, name) != neutral:
            fix = f"must be {neutral!r}: training needs all samples, drawn from the whole distribution"
            raise OptionError(f"args.{name}", getattr(args, name), fix)
    if args.loss_type not in _LOSSES:
        fix = f"must be one of {', '.join(_LOSSES)}; the others weight a token by the length of its sequence or batch"
        raise OptionError("args.loss_type", args.loss_type, fix)


def _check_enough(args: GRPOConfig, tasks: list[int | Task]) -> None:
    needed = args.generation_batch_size // args.num_generations
    if len(tasks) < needed:
        fix = f"one batch needs {needed} (generation_batch_size / num_generations); give more, or collect fewer"
        raise OptionError("tasks", len(tasks), fix)


def _listed(name: str, tasks: int | Iterable[int | Task] | None) -> list[int | Task]:
    listed: list[int | Task] = [] if tasks is None else list(range(tasks)) if isinstance(tasks, int) else list(tasks)
    if tasks is not None and not listed:
        raise OptionError(name, tasks, "is empty; give a number above 0 or some task numbers")
    return listed


def _dataset(tasks: list[int | Task]) -> Dataset:
    """Return the rows that TRL shuffles and repeats, one for each task. Their prompts are not used."""
    names = [task.id if isinstance(task, Task) else str(task) for task in tasks]
    return Dataset.from_dict({"prompt": names, "task": list(range(len(tasks)))})


def _stacked(rows: list[Tensor], fill: float, *, left: bool = False) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(
        rows, batch_first=True, padding_value=fill, padding_side="left" if left else "right"
    )
