# Where the gateway's load balancer writes who asked for what. It can write to S3's own encryption only, hence a bucket
# apart from the platform's.
resource "aws_s3_bucket" "logs" {
  #checkov:skip=CKV_AWS_18:it is the bucket of access logs
  #checkov:skip=CKV_AWS_144:logs of requests need no second region
  #checkov:skip=CKV_AWS_145:a load balancer writes to S3's own encryption only
  #checkov:skip=CKV_AWS_21:nothing overwrites a log file
  #checkov:skip=CKV2_AWS_62:nothing waits for events of the bucket
  bucket        = "${var.context.name}-access-logs-${var.context.account_id}-${var.context.region}"
  force_destroy = !var.protect_data
}

resource "aws_s3_bucket_public_access_block" "logs" {
  bucket                  = aws_s3_bucket.logs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id
  rule {
    id     = "end"
    status = "Enabled"
    filter {}
    expiration {
      days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

data "aws_iam_policy_document" "logs" {
  statement {
    sid       = "LoadBalancerWrites"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.logs.arn}/AWSLogs/${var.context.account_id}/*"]
    principals {
      type        = "Service"
      identifiers = ["logdelivery.elasticloadbalancing.amazonaws.com"]
    }
  }
  statement {
    sid       = "OnlyThroughTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.logs.arn, "${aws_s3_bucket.logs.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = data.aws_iam_policy_document.logs.json
}
