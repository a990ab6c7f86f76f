output "bucket" {
  description = "The bucket, once a load balancer may write to it."
  value       = aws_s3_bucket.logs.bucket
  depends_on  = [aws_s3_bucket_policy.logs]
}
