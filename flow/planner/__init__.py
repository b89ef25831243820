"""The planner: from a definition, which people write, to a plan, which the kernel executes.

`validate` refuses what is not a workflow, `plan` numbers and sorts the steps, `sorted_steps` and
`levels` show what runs side by side, and `to_mermaid` and `to_dot` draw. Nothing else in flowmq
knows networkx.
"""

from flow.planner.drawing import reduction, to_dot, to_mermaid
from flow.planner.planning import levels, plan, sorted_steps
from flow.planner.validation import validate

__all__ = ["levels", "plan", "reduction", "sorted_steps", "to_dot", "to_mermaid", "validate"]
