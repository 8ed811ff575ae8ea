//! The policy file's types: one schema for the file, the REST API and the Kubernetes resources.
