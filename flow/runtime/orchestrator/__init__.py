"""The orchestrator: owns partitions, decides about their executions, and has it carried out."""
