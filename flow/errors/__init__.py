"""Every error that flowmq raises, as one tree.

    FlowError
    ├── DefinitionError            a declaration is wrong; nothing has run yet
    │   ├── InvalidName
    │   ├── InvalidOption
    │   ├── InvalidReference
    │   ├── BindingError
    │   ├── DuplicateDefinition
    │   ├── UnknownRequirement
    │   ├── SelfRequirement
    │   ├── CyclicRequirement
    │   └── StepIsRequired
    ├── RequestError               what was asked for cannot be done; nothing was changed
    │   ├── InvalidInput
    │   ├── TooLarge
    │   ├── UnknownWorkflow
    │   ├── UnknownExecution
    │   ├── UnknownStep
    │   ├── UnknownEndpoint
    │   ├── MissingResults
    │   ├── ExecutionConflict
    │   ├── DefinitionInUse
    │   └── NotPossible
    ├── OutcomeError               it was done, and this is how it ended
    │   ├── ExecutionFailed
    │   ├── ExecutionAborted
    │   └── CallFailed
    ├── UnavailableError           a peer is away, or too slow; asking again may help
    │   ├── BrokerUnavailable
    │   ├── StoreUnavailable
    │   ├── StoreLocked
    │   ├── Overloaded
    │   └── DeadlineExceeded
    ├── DataError                  stored or received data cannot be used
    │   ├── MappingFailed
    │   ├── CorruptRecord
    │   └── UnsupportedVersion
    ├── ConfigurationError         a URL, a file or a set-up is wrong
    └── StateMachineError          misuse of the state machine tree
        ├── DuplicateRegistration
        ├── NotRegistered
        ├── IncompatibleType
        ├── InvalidTransition
        ├── InvalidTask
        ├── NodeExists
        ├── NodeNotFound
        ├── StaleReference
        └── ReadOnlyAccess

Each class takes typed fields and makes its own message from them, so that a program can look
at the fields and a person can read the text. Fields are JSON values: an error crosses a
process boundary and is the same error on the other side.
"""

from flow.errors.base import (
    FlowError,
    listed,
    nearest,
)
from flow.errors.definitions import (
    BindingError,
    CyclicRequirement,
    DefinitionError,
    DuplicateDefinition,
    InvalidName,
    InvalidOption,
    InvalidReference,
    SelfRequirement,
    StepIsRequired,
    UnknownRequirement,
)
from flow.errors.faults import (
    BrokerUnavailable,
    ConfigurationError,
    CorruptRecord,
    DataError,
    DeadlineExceeded,
    MappingFailed,
    Overloaded,
    StoreLocked,
    StoreUnavailable,
    UnavailableError,
    UnsupportedVersion,
)
from flow.errors.machines import (
    DuplicateRegistration,
    IncompatibleType,
    InvalidTask,
    InvalidTransition,
    NodeExists,
    NodeNotFound,
    NotRegistered,
    ReadOnlyAccess,
    StaleReference,
    StateMachineError,
)
from flow.errors.requests import (
    CallFailed,
    DefinitionInUse,
    ExecutionAborted,
    ExecutionConflict,
    ExecutionFailed,
    InvalidInput,
    MissingResults,
    NotPossible,
    OutcomeError,
    RequestError,
    TooLarge,
    UnknownEndpoint,
    UnknownExecution,
    UnknownStep,
    UnknownWorkflow,
)

__all__ = [
    "BindingError",
    "BrokerUnavailable",
    "CallFailed",
    "ConfigurationError",
    "CorruptRecord",
    "CyclicRequirement",
    "DataError",
    "DeadlineExceeded",
    "DefinitionError",
    "DefinitionInUse",
    "DuplicateDefinition",
    "DuplicateRegistration",
    "ExecutionAborted",
    "ExecutionConflict",
    "ExecutionFailed",
    "FlowError",
    "IncompatibleType",
    "InvalidInput",
    "InvalidName",
    "InvalidOption",
    "InvalidReference",
    "InvalidTask",
    "InvalidTransition",
    "MappingFailed",
    "MissingResults",
    "NodeExists",
    "NodeNotFound",
    "NotPossible",
    "NotRegistered",
    "OutcomeError",
    "Overloaded",
    "ReadOnlyAccess",
    "RequestError",
    "SelfRequirement",
    "StaleReference",
    "StateMachineError",
    "StepIsRequired",
    "StoreLocked",
    "StoreUnavailable",
    "TooLarge",
    "UnavailableError",
    "UnknownEndpoint",
    "UnknownExecution",
    "UnknownRequirement",
    "UnknownStep",
    "UnknownWorkflow",
    "UnsupportedVersion",
    "listed",
    "nearest",
]
