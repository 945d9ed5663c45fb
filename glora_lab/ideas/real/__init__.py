"""What a real model makes of the methods: accuracy over parameters, what full training changes, what merging loses."""
