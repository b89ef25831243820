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
    │   ├── StepIsRequired
    │   └── UnresolvedSteps
    ├── RequestError               what was asked for cannot be done; nothing was changed
    │   ├── InvalidInput
    │   ├── TooLarge
    │   ├── UnknownWorkflow
    │   ├── UnknownExecution
    │   ├── UnknownStep
    │   ├── UnknownEndpoint
    │   ├── MissingResults
    │   ├── MissingSteps
    │   ├── StepConflict
    │   ├── ExecutionConflict
    │   ├── DefinitionInUse
    │   ├── AlreadyUndone
    │   ├── NotPossible
    │   └── TooMany
    ├── OutcomeError               it was done, and this is how it ended
    │   ├── ExecutionFailed
    │   │   └── ExecutionCompensated
    │   ├── ExecutionAborted
    │   ├── ExecutionPruned
    │   ├── OutcomeUnknown
    │   ├── UndoFailed
    │   ├── StepsUndone
    │   └── CallFailed
    ├── UnavailableError           a peer is away, or too slow; asking again may help
    │   ├── BrokerUnavailable
    │   ├── StoreUnavailable
    │   ├── StoreLocked
    │   ├── Overloaded
    │   └── DeadlineExceeded
    ├── DataError                  stored or received data cannot be used
    │   ├── MappingFailed
    │   ├── StateConflict
    │   ├── CorruptRecord
    │   └── UnsupportedVersion
    ├── ConfigurationError         a URL, a file or a set-up is wrong
    ├── SimulationError            a simulation cannot go on
    │   ├── SimulationFailed
    │   ├── SimulationRefused
    │   └── SimulationStuck
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
    failure_of,
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
    UnresolvedSteps,
)
from flow.errors.faults import (
    BrokerUnavailable,
    ConfigurationError,
    CorruptRecord,
    DataError,
    DeadlineExceeded,
    MappingFailed,
    Overloaded,
    SimulationError,
    SimulationFailed,
    SimulationRefused,
    SimulationStuck,
    StateConflict,
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
    AlreadyUndone,
    CallFailed,
    DefinitionInUse,
    ExecutionAborted,
    ExecutionCompensated,
    ExecutionConflict,
    ExecutionFailed,
    ExecutionPruned,
    InvalidInput,
    MissingResults,
    MissingSteps,
    NotPossible,
    OutcomeError,
    OutcomeUnknown,
    RequestError,
    StepConflict,
    StepsUndone,
    TooLarge,
    TooMany,
    UndoFailed,
    UnknownEndpoint,
    UnknownExecution,
    UnknownStep,
    UnknownWorkflow,
)

__all__ = [
    "AlreadyUndone",
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
    "ExecutionCompensated",
    "ExecutionConflict",
    "ExecutionFailed",
    "ExecutionPruned",
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
    "MissingSteps",
    "NodeExists",
    "NodeNotFound",
    "NotPossible",
    "NotRegistered",
    "OutcomeError",
    "OutcomeUnknown",
    "Overloaded",
    "ReadOnlyAccess",
    "RequestError",
    "SelfRequirement",
    "SimulationError",
    "SimulationFailed",
    "SimulationRefused",
    "SimulationStuck",
    "StaleReference",
    "StateConflict",
    "StateMachineError",
    "StepConflict",
    "StepIsRequired",
    "StepsUndone",
    "StoreLocked",
    "StoreUnavailable",
    "TooLarge",
    "TooMany",
    "UnavailableError",
    "UndoFailed",
    "UnknownEndpoint",
    "UnknownExecution",
    "UnknownRequirement",
    "UnknownStep",
    "UnknownWorkflow",
    "UnresolvedSteps",
    "UnsupportedVersion",
    "failure_of",
    "listed",
    "nearest",
]
