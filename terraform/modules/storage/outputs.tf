output "key_arn" {
  description = "The KMS key of everything at rest."
  value       = aws_kms_key.platform.arn
}

output "key_id" {
  description = "The same key by its id, as some services want it."
  value       = aws_kms_key.platform.key_id
}

output "bucket" {
  description = "The bucket's name, once nothing in it can be public or unencrypted."
  value       = aws_s3_bucket.platform.bucket
  depends_on = [
    aws_s3_bucket_public_access_block.platform,
    aws_s3_bucket_server_side_encryption_configuration.platform,
    aws_s3_bucket_policy.platform,
  ]
}

output "bucket_arn" {
  description = "The bucket."
  value       = aws_s3_bucket.platform.arn
}
