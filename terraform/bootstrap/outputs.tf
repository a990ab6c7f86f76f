output "backend" {
  description = "Content of backend.hcl, for terraform init -backend-config=backend.hcl in the folder above."
  value       = <<-EOT
    bucket = "${aws_s3_bucket.state.bucket}"
    region = "${var.region}"
  EOT
}

output "repositories" {
  description = "Addresses to push the images to."
  value       = { for image, repository in aws_ecr_repository.image : image => repository.repository_url }
}

output "roles" {
  description = "What GitHub's workflows take on."
  value       = { for purpose, role in aws_iam_role.github : purpose => role.arn }
}
