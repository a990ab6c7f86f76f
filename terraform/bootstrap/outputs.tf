output "backends" {
  description = "By environment: content of its backend.hcl, for terraform init -backend-config=backend.hcl."
  value = { for environment, bucket in aws_s3_bucket.state : environment => join("\n", [
    "bucket = \"${bucket.bucket}\"", "region = \"${var.region}\"", "",
  ]) }
}

output "repositories" {
  description = "Addresses to push the images to."
  value       = { for image, repository in aws_ecr_repository.image : image => repository.repository_url }
}

output "roles" {
  description = "What GitHub's workflows assume."
  value       = { for purpose, role in aws_iam_role.github : purpose => role.arn }
}
