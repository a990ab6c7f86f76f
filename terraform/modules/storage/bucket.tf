# artifacts/ is MLflow's, releases/ what gateways start from, data/ what is trained on, exports/ purged decisions.
resource "aws_s3_bucket" "platform" {
  #checkov:skip=CKV_AWS_18:CloudTrail's data events record accesses where the bank wants them
  #checkov:skip=CKV_AWS_144:what is here can be trained again; a second region is the bank's choice
  #checkov:skip=CKV2_AWS_62:gateways follow the registry, nothing waits for events of the bucket
  bucket        = "${var.context.name}-${var.context.account_id}-${var.context.region}"
  force_destroy = !var.protect_data
}

resource "aws_s3_bucket_versioning" "platform" {
  bucket = aws_s3_bucket.platform.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "platform" {
  bucket = aws_s3_bucket.platform.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.platform.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "platform" {
  bucket                  = aws_s3_bucket.platform.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# Releases stay: a rollback may want any of them. Old versions of files and artifacts of old runs do not.
resource "aws_s3_bucket_lifecycle_configuration" "platform" {
  bucket = aws_s3_bucket.platform.id
  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
  rule {
    id     = "artifacts-of-old-runs"
    status = "Enabled"
    filter {
      prefix = "artifacts/"
    }
    transition {
      days          = 60
      storage_class = "STANDARD_IA"
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "OnlyThroughTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.platform.arn, "${aws_s3_bucket.platform.arn}/*"]
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

resource "aws_s3_bucket_policy" "platform" {
  bucket = aws_s3_bucket.platform.id
  policy = data.aws_iam_policy_document.bucket.json
}
