output "arn" {
  description = "The role, once its policy is attached."
  value       = module.role.arn
}
